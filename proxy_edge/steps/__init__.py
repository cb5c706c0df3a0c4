"""The hot path, one module per step, in the order of DESIGN section 4. Pure functions over values.

    canonicalise  1   models.canonical, and the loop check
    find          2   the proxy by id or alias, then the target's path strictness
    authenticate  3   whose credential the request presents
    state         4   is the proxy active
    rules         5   four scopes judge
    limits        6   permits and their header fields
    lease         8   the credential to inject, as a live lease
    forward       8   the head that goes upstream
    respond      10   the head that goes back, its framing, what the scrub does
    record       11   what is written down

Step 7 (body rules) and filters come with their issue; step 9 is `proxy_edge.sequence`, which also does the
waiting for permits and connections. No step knows the parser or the pool; `record` alone reads an exchange,
because what is written down is nearly all of it.
"""
