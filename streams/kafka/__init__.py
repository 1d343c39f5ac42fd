"""What Faust lacks, one idea a file."""
