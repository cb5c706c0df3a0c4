"""Operations: the command line, first run and benchmarks. May import any package of ours."""
