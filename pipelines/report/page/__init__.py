"""One self-contained HTML page of what runs gave, or a scoring.

write     a URI of results -> the page and its figures, in a folder
render    results, costs, figures and galleries -> the page of runs
scores    columns, figures and images -> the page of a scoring
parts     what both have in common
images    pixels, attention maps and figures -> data URIs
panels    what is drawn over an image, in its pixels
origins   where runs lie, and how they were made
templates the page's HTML; page.css and page.js beside it are inlined
"""
