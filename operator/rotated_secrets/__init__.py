"""Rotates database credentials in AWS Secrets Manager and delivers them to Kubernetes Secrets."""
