@{main}
