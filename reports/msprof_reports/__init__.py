"""Reports that people read: a page for the browser, a workbook for the spreadsheet."""
