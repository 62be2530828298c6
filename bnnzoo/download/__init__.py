"""Downloads: allowed URLs, timeouts and retries (`policy`), and one file (`transfer`)."""
