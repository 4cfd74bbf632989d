"""What the ports answer: HTTP requests and responses, the two interfaces, their OpenAPI documents."""
