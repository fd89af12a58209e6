"""Pictures that say something about an encoder, each of which tells what it shows and which command makes it again."""
