// Writes items as the application does: AWS SDK for JavaScript v3, DynamoDBDocumentClient, PutCommand.
// Arguments: endpoint, table, manner. Standard input: rows as JSON, with numbers beyond 2^53 as text, as pg gives them.
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { DynamoDBDocumentClient, PutCommand } from "@aws-sdk/lib-dynamodb";

const exact = (digits) => BigInt(digits);
const manners = {
  // null is written as NULL.
  plain: { marshall: { removeUndefinedValues: true }, size: exact, absent: null },
  // undefined is left out.
  sparse: { marshall: { removeUndefinedValues: true }, size: exact, absent: undefined },
  // Wrong: numbers as JavaScript has them, exact to 2^53.
  imprecise: { marshall: { removeUndefinedValues: true, allowImpreciseNumbers: true }, size: Number, absent: null },
  // Wrong: '' becomes NULL.
  emptied: { marshall: { removeUndefinedValues: true, convertEmptyValues: true }, size: exact, absent: null },
};

const [endpoint, table, name] = process.argv.slice(2);
const manner = manners[name];
const client = DynamoDBDocumentClient.from(
  new DynamoDBClient({ endpoint, region: "us-east-1", credentials: { accessKeyId: "test", secretAccessKey: "test" } }),
  { marshallOptions: manner.marshall },
);

const item = (row) => ({
  PK: `IMAGE#${row.id}`,
  SK: "METADATA",
  userId: row.user_id,
  createdAt: new Date(row.created_at).toISOString(),
  updatedAt: new Date(row.updated_at).toISOString(),
  originalFilename: row.original_filename,
  s3Key: row.s3_key,
  s3Bucket: row.s3_bucket,
  thumbnailS3Key: row.thumbnail_s3_key ?? manner.absent,
  mimeType: row.mime_type,
  sizeBytes: manner.size(row.size_bytes),
  width: row.width ?? manner.absent,
  height: row.height ?? manner.absent,
  version: 1,
});

let input = "";
for await (const chunk of process.stdin.setEncoding("utf8")) input += chunk;
for (const row of JSON.parse(input)) await client.send(new PutCommand({ TableName: table, Item: item(row) }));
