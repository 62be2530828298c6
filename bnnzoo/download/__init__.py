"""Downloads: what may be fetched and how patiently (`policy`), and one file (`transfer`)."""
