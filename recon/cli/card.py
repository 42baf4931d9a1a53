"""`rayfold card`: what the weights of the prior are, saw and reached, and what they are not for."""

from __future__ import annotations

import argparse

from rayfold.recon.cli import console


def command(args: argparse.Namespace) -> None:
    """Print the card, as Markdown or JSON."""
    from rayfold.recon.foundation.card import markdown, read_card

    card = read_card(args.weights)
    if args.json:
        console.as_json(card)
    else:
        console.result(markdown(card).rstrip())
