"""The API's description, OpenAPI 3.0.3, made from the routes; and the page that shows it.

What @route was told is all there is: a path, a role and msgspec Structs. aiohttp-apispec's @docs
carries a handler's words, apispec assembles the document, and aiohttp-swagger3 refuses to start
with a wrong one and brings Swagger UI along, so that nothing is fetched from elsewhere. 3.0,
because aiohttp-swagger3 and many generators know no later version.
"""
