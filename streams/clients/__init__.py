"""What talks to Kafka and to the pages from outside: the clients behind the commands."""
