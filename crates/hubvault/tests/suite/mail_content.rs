//! A mail server that refuses a message for what is attached to it.

use crate::mailing::{html, mailing_with_short_delays, only_mail, text, without_tls};
use hubvault_testkit::{MailServer, MailServerOptions, USERS, database_with};

#[test]
fn a_mail_that_is_refused_for_its_attachment_is_sent_without_it() {
    let source = database_with(USERS);
    for reply in [
        "554 5.7.1 attachment <tar.gz> not allowed",
        "552 5.7.0 blocked <tar.gz> as a potential security issue",
    ] {
        let mail = MailServer::start(MailServerOptions {
            refuse_attachments: reply.into(),
            ..without_tls()
        });
        let hub = mailing_with_short_delays(&source, &mail);
        let (record, _) = hub.backup();
        assert_eq!(record["warnings"], serde_json::json!([]), "{record}");
        let why = format!("the mail with it was refused: the server answers {reply}");
        assert_eq!(
            record["delivery"]["attachment"],
            format!("not attached: {why}"),
            "{record}"
        );
        let parts = only_mail(&mail);
        assert!(parts.attachments.is_empty());
        assert!(
            text(&parts).contains(&format!("Not attached: {why}. ")),
            "{}",
            text(&parts)
        );
        assert!(html(&parts).contains("&lt;tar.gz&gt;"), "{}", html(&parts));
    }
}
