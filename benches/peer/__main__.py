"""`python -m peer`."""

from peer.drain import main

if __name__ == "__main__":
    main()
