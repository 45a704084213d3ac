// Checks an archive against the schema of HAR 1.2.
//
//   node validate_har.js NODE_MODULES ARCHIVE
"use strict";
const [modules, archive] = process.argv.slice(2);
const validate = require(`${modules}/har-validator`);
validate.har(JSON.parse(require("fs").readFileSync(archive, "utf8"))).then(
    () => console.log("valid"),
    (error) => {
        console.error(JSON.stringify(error.errors ?? String(error), null, 1));
        process.exit(1);
    },
);
