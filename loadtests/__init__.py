"""The load plane: who comes, when, doing what, and the history of what each user did."""
