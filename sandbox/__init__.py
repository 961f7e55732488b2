"""The stack that the demo and the tests run on: each part on a free loopback port, removed at the end."""
