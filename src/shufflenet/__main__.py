"""`python -m shufflenet`, which `accelerate launch -m shufflenet` needs."""

from shufflenet.cli import main

main()
