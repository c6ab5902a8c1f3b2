"""The policy server: openpi's protocol, websocket and msgpack."""
