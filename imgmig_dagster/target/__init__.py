"""The target: DynamoDB's requests, the writer, and what it does when the service pushes back."""
