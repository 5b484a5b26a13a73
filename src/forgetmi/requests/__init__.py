"""The ledger of withdrawals: requests, deadlines, lists to process, closing."""
