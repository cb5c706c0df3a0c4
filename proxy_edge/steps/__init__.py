"""The hot path, one module per step, in the order of DESIGN section 4. Pure functions over values.

    canonicalise  1   models.canonical, and the loop check
    find          2   the proxy by id or alias, then the target's path strictness
    authenticate  3   whose credential the request presents
    state         4   is the proxy active
    rules         5   four scopes judge
    limits        6   permits and their header fields
    body          7   a body that rules look into, judged
    lease         8   the credential to inject, as a live lease
    forward       8   the head that goes upstream
    filter       10   which filters an answer goes through, and its new body
    respond      10   the head that goes back, its framing, what the scrub does
    record       11   what is written down

Step 9 is `proxy_edge.sequence`; waiting is its work, and for bodies that of `proxy_edge.whole_body` and
`proxy_edge.filtering`. No step knows the parser or the pool; `record` alone reads an exchange, because what is
written down is nearly all of it.
"""
