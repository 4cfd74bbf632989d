"""What becomes an image: its files and layout, planned to the byte; native stages, other builders."""
