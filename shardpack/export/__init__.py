"""Write the samples of a dataset in other forms: today, as plain files."""
