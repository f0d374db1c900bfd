"""One self-contained HTML page of what runs gave.

write     a URI of results -> the page and its figures, in a folder
render    results, costs, figures and galleries -> the page
images    pixels, attention maps and figures -> data URIs
panels    what is drawn over an image, in its pixels
origins   where runs lie, and how they were made
templates the page's HTML; page.css and page.js beside it are inlined
"""
