"""Real parts that tests share: upstream servers, edge processes, raw sockets. No mocks."""
