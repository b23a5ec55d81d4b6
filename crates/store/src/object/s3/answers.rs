//! What S3 answers, in XML.

use super::super::failure::{Answer, Failure, NOT_A_STORE};
use crate::error::ErrorKind;
use quick_xml::Reader;
use quick_xml::events::Event;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// An answer by its name.
pub(crate) trait Named: DeserializeOwned {
    /// The outermost element.
    const ROOT: &'static str;
}

/// Reads an answer, which must be of this name: whoever is in between answers with a page, in which nothing is listed.
pub(crate) fn read<T: Named>(text: &str) -> Answer<T> {
    if root(text).as_deref() != Some(T::ROOT.as_bytes()) {
        return Err(Failure::new(ErrorKind::Failed, NOT_A_STORE));
    }
    quick_xml::de::from_str(text)
        .map_err(|error| Failure::new(ErrorKind::Failed, format!("{NOT_A_STORE} ({error})")))
}

/// The name of the outermost element.
pub(crate) fn root(text: &str) -> Option<Vec<u8>> {
    let mut reader = Reader::from_str(text);
    loop {
        match reader.read_event().ok()? {
            Event::Start(root) | Event::Empty(root) => {
                return Some(root.local_name().as_ref().to_vec());
            }
            Event::Eof => return None,
            _ => {}
        }
    }
}

impl Named for ListBucketResult {
    const ROOT: &'static str = "ListBucketResult";
}
impl Named for InitiateMultipartUploadResult {
    const ROOT: &'static str = "InitiateMultipartUploadResult";
}
impl Named for CompleteMultipartUploadResult {
    const ROOT: &'static str = "CompleteMultipartUploadResult";
}
impl Named for ListMultipartUploadsResult {
    const ROOT: &'static str = "ListMultipartUploadsResult";
}
impl Named for ListPartsResult {
    const ROOT: &'static str = "ListPartsResult";
}
impl Named for ObjectLockConfiguration {
    const ROOT: &'static str = "ObjectLockConfiguration";
}

/// Objects of `ListObjectsV2`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListBucketResult {
    /// The objects.
    #[serde(default)]
    pub(crate) contents: Vec<Contents>,
    /// The bucket.
    #[serde(rename = "Name")]
    pub(crate) _name: String,
    /// Whether there are more.
    pub(crate) is_truncated: bool,
    /// Where the next page begins.
    pub(crate) next_continuation_token: Option<String>,
}

/// One of them.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Contents {
    pub(crate) key: String,
    pub(crate) size: u64,
    #[serde(rename = "ETag")]
    pub(crate) e_tag: Option<String>,
}

/// `CreateMultipartUpload`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct InitiateMultipartUploadResult {
    pub(crate) upload_id: String,
}

/// `CompleteMultipartUpload`.
#[derive(Debug, Deserialize)]
pub(crate) struct CompleteMultipartUploadResult {
    #[serde(rename = "ETag")]
    pub(crate) e_tag: Option<String>,
}

/// `ListMultipartUploads`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListMultipartUploadsResult {
    #[serde(default, rename = "Upload")]
    pub(crate) uploads: Vec<Upload>,
    pub(crate) next_key_marker: Option<String>,
    pub(crate) next_upload_id_marker: Option<String>,
    #[serde(default)]
    pub(crate) is_truncated: bool,
}

/// One of them.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Upload {
    pub(crate) key: String,
    #[serde(rename = "UploadId")]
    pub(crate) id: String,
    pub(crate) initiated: String,
}

/// `ListParts`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListPartsResult {
    #[serde(default, rename = "Part")]
    pub(crate) parts: Vec<Part>,
    pub(crate) next_part_number_marker: Option<String>,
    #[serde(default)]
    pub(crate) is_truncated: bool,
}

/// One of them.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Part {
    pub(crate) size: u64,
}

/// `GetObjectLockConfiguration`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ObjectLockConfiguration {
    pub(crate) object_lock_enabled: Option<String>,
}

/// A failure.
#[derive(Debug, Default, Deserialize)]
#[serde(rename = "Error", rename_all = "PascalCase")]
pub(crate) struct ErrorAnswer {
    pub(crate) code: String,
    #[serde(default)]
    pub(crate) message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_answers_of_a_store_are_read() {
        let list = "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"x\"><Name>b</Name><IsTruncated>false</IsTruncated></ListBucketResult>";
        assert!(read::<ListBucketResult>(list).unwrap().contents.is_empty());
        for text in [
            "",
            "log in first",
            "<!DOCTYPE html><html><body>Log in</body></html>",
            "<html><Name>b</Name><IsTruncated>false</IsTruncated></html>",
            "<ListBucketResult><Name>b</Name></ListBucketResult>",
            "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>",
        ] {
            let failure = read::<ListBucketResult>(text).unwrap_err();
            assert!(failure.text.contains("login page"), "{text}: {failure:?}");
            assert_eq!(failure.kind, ErrorKind::Failed);
        }
        let page = "<html><body>Log in</body></html>";
        assert!(read::<ListMultipartUploadsResult>(page).is_err());
        assert!(read::<ListPartsResult>(page).is_err());
        assert!(read::<ObjectLockConfiguration>(page).is_err());
        assert!(read::<CompleteMultipartUploadResult>(page).is_err());
    }
}
