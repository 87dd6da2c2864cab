// AWS SDK for JavaScript v3: BatchWriteItem with ten requests in flight, fed from the same SQL.
// Arguments: the job as JSON. Prints what it took as JSON.
import { createRequire } from "node:module";

const job = JSON.parse(process.argv[2]);
const require = createRequire(job.cache + "/");
const { DynamoDBClient, BatchWriteItemCommand } = require("@aws-sdk/client-dynamodb");
const { Client } = require("pg");

const PAGE = 1000, BATCH = 25, IN_FLIGHT = 10, TABLE = "images-bench";
// The cursor is read as text: a Date drops microseconds, and would read a tie for ever.
const query = (table, behind) => `
  SELECT id::text, user_id::text, created_at, updated_at, original_filename, s3_key, s3_bucket, thumbnail_s3_key,
         mime_type, size_bytes, width, height, created_at::text AS cursor
  FROM ${table} WHERE created_at >= $1 AND created_at < $2 ${behind} ORDER BY created_at, id LIMIT ${PAGE}`;

const text = (value) => (value === null ? { NULL: true } : { S: value });
const number = (value) => (value === null ? { NULL: true } : { N: String(value) });
const item = (row) => ({
  PK: { S: `IMAGE#${row.id}` },
  SK: { S: "METADATA" },
  userId: { S: row.user_id },
  createdAt: { S: row.created_at.toISOString() },
  updatedAt: { S: row.updated_at.toISOString() },
  originalFilename: text(row.original_filename),
  s3Key: text(row.s3_key),
  s3Bucket: text(row.s3_bucket),
  thumbnailS3Key: text(row.thumbnail_s3_key),
  mimeType: text(row.mime_type),
  sizeBytes: number(row.size_bytes),
  width: number(row.width),
  height: number(row.height),
  version: { N: "1" },
});

async function* batches(source, table) {
  let behind = "", parameters = ["2024-03-01T00:00:00Z", "2024-04-01T00:00:00Z"];
  for (;;) {
    const { rows } = await source.query(query(table, behind), parameters);
    for (let start = 0; start < rows.length; start += BATCH) yield rows.slice(start, start + BATCH);
    if (rows.length < PAGE) return;
    const last = rows[rows.length - 1];
    behind = "AND (created_at, id) > ($3::timestamptz, $4::uuid)";
    parameters = [parameters[0], parameters[1], last.cursor, last.id];
  }
}

async function write(source, target, table) {
  let written = 0;
  const inFlight = new Set();
  for await (const rows of batches(source, table)) {
    const request = { RequestItems: { [TABLE]: rows.map((row) => ({ PutRequest: { Item: item(row) } })) } };
    const sent = target.send(new BatchWriteItemCommand(request)).then((reply) => {
      if (Object.keys(reply.UnprocessedItems ?? {}).length) throw new Error("unprocessed items");
      written += rows.length;
      inFlight.delete(sent);
    });
    inFlight.add(sent);
    if (inFlight.size >= IN_FLIGHT) await Promise.race(inFlight);
  }
  await Promise.all(inFlight);
  return written;
}

const source = new Client({ connectionString: job.source_url });
await source.connect();
const target = new DynamoDBClient({
  endpoint: job.endpoint,
  region: "us-east-1",
  credentials: { accessKeyId: "sandbox", secretAccessKey: "sandbox" },
});
// Twice: V8 compiles what it has seen often.
await write(source, target, job.warm_up_table);
await write(source, target, job.warm_up_table);
const cpu = process.cpuUsage(), started = performance.now();
const written = await write(source, target, job.source_table);
const used = process.cpuUsage(cpu);
if (written !== job.rows) throw new Error(`wrote ${written} of ${job.rows} rows`);
console.log(JSON.stringify({
  rows: written,
  cpu_s: (used.user + used.system) / 1e6,
  wall_s: (performance.now() - started) / 1e3,
  peak_mb: process.resourceUsage().maxRSS / 1e3,
}));
await source.end();
