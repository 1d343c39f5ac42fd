"""The pages: HTML for people, the same figures as JSON for programs, on Faust's own web server.

`routes` lists which page is where; each page is a module `*_page` with its handlers and its figures, dicts
that become JSON as they are.  `rendering` turns figures into HTML; `site` picks HTML or JSON, answers errors
and sets headers.  Pages run on the loop that serves the stream: they only read, wait for other processes with
a timeout, and run what takes longer than a millisecond in a thread or in slices.
"""
