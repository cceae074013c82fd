"""Error rates, boundary scores and ABX discrimination."""
