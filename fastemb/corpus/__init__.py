"""Text to word numbers: any source becomes int32 ids, sentence offsets and a vocabulary."""
