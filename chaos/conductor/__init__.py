"""The conductor: the one part of Brownout that touches the world, through small ports."""
