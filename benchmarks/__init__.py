"""One script a question, each with its peers in the same run."""
