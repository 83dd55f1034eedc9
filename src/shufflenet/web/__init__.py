"""A page that runs a network in the browser, and the JavaScript module behind it."""
