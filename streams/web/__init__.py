"""The pages: HTML for people, the same as JSON for programs, on Faust's own web server.

`figures` and `learner_figures` build what a page says, as dicts; `rendering` makes HTML of it; `site` picks
HTML or JSON, words errors and sets headers.  `pages` and `learner_pages` say which page is where.
A page runs on the loop that serves the stream: it reads, it waits for others only with a bound, and what
takes longer than a millisecond goes to a thread or in slices.
"""
