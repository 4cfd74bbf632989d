print("hello from a wrapped image")
