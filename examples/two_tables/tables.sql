CREATE SCHEMA shop;
CREATE TABLE shop.orders (
    id uuid PRIMARY KEY,
    customer text NOT NULL,
    total numeric(12, 2) NOT NULL,
    paid boolean NOT NULL,
    placed_at timestamptz NOT NULL
);
CREATE INDEX ON shop.orders (placed_at, id);
CREATE TABLE shop.order_lines (
    order_id uuid NOT NULL REFERENCES shop.orders,
    line integer NOT NULL,
    sku text NOT NULL,
    quantity integer NOT NULL,
    added_at timestamptz NOT NULL,
    PRIMARY KEY (order_id, line)
);
CREATE INDEX ON shop.order_lines (added_at, order_id, line);
