"""The pages: HTML for people, the same as JSON for programs, on Faust's own web server."""
