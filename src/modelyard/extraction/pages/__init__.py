"""Pages: what the HTML pages share: colours and type, two scripts, and how JSON and scripts are put into them."""
