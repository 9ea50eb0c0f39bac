//! Reading header fields as their lists and single values.

use hyper::header::{HeaderMap, HeaderName};

/// The comma-separated, non-empty elements of all fields of one name (RFC 9110 5.6.1); a field that is not
/// visible ASCII has none.
pub(crate) fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let fields = headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    fields
        .flat_map(|field| field.split(','))
        .map(str::trim)
        .filter(|token| !token.is_empty())
}

/// The value of a field that must not come twice; `None` where there is none.
///
/// # Errors
///
/// It does come twice, or is not visible ASCII: what is wrong, to follow the field's name.
pub(crate) fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, &'static str> {
    let mut fields = headers.get_all(name).into_iter();
    let Some(field) = fields.next() else { return Ok(None) };
    if fields.next().is_some() {
        return Err("comes twice");
    }
    field.to_str().map(|text| Some(text.trim())).map_err(|_| "is not ASCII")
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderValue, UPGRADE};

    use super::*;

    fn upgrade(values: &[&'static [u8]]) -> HeaderMap {
        values
            .iter()
            .map(|value| (UPGRADE, HeaderValue::from_bytes(value).unwrap()))
            .collect()
    }

    #[test]
    fn lists_run_over_all_fields() {
        let headers = upgrade(&[b" a,, b ", b"\xff, d", b"c"]);
        assert_eq!(tokens(&headers, &UPGRADE).collect::<Vec<_>>(), ["a", "b", "c"]);
    }

    #[test]
    fn a_single_value_is_single() {
        assert_eq!(single(&upgrade(&[]), &UPGRADE), Ok(None));
        assert_eq!(single(&upgrade(&[b" a "]), &UPGRADE), Ok(Some("a")));
        assert!(single(&upgrade(&[b"a", b"a"]), &UPGRADE).is_err());
        assert!(single(&upgrade(&[b"\xff"]), &UPGRADE).is_err());
    }
}
