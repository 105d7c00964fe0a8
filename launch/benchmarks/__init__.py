"""What `l3flow bench` measures, a module each; every measurement gives `Figure`s."""
