"""Other CASes: asked for what sessions import from theirs, and answered."""
