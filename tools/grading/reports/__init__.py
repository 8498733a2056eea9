"""What a graded class comes to: the table, the pages, the report, and files for learning-management systems."""
