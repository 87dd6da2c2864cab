-- The role that reads the source: SELECT on one table, read-only by default, nothing else.
-- psql -v ON_ERROR_STOP=1 -v database=images -v schema=public -v table=images -f reader_role.sql
-- Then set its password with \password imgmig_reader, which no log keeps.
CREATE ROLE imgmig_reader LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION CONNECTION LIMIT 20;
ALTER ROLE imgmig_reader SET default_transaction_read_only = on;
ALTER ROLE imgmig_reader SET statement_timeout = '10min';
ALTER ROLE imgmig_reader SET lock_timeout = '10s';
GRANT CONNECT ON DATABASE :"database" TO imgmig_reader;
GRANT USAGE ON SCHEMA :"schema" TO imgmig_reader;
GRANT SELECT ON :"schema".:"table" TO imgmig_reader;
-- Where the table has row-level security, a superuser adds: ALTER ROLE imgmig_reader BYPASSRLS;
-- without it PostgreSQL refuses every statement, since a policy would hide rows.
