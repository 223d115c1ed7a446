import CalendarTime
import CalendarTranslation
import CalendarXML
import DocumentText
import ICalendar
import SAMLServiceProvider
import WireText

private let event = """
    BEGIN:VCALENDAR\r
    VERSION:2.0\r
    BEGIN:VTIMEZONE\r
    TZID:Own\r
    BEGIN:STANDARD\r
    DTSTART:19701025T030000\r
    TZOFFSETFROM:+0200\r
    TZOFFSETTO:+0100\r
    RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU\r
    END:STANDARD\r
    END:VTIMEZONE\r
    BEGIN:VEVENT\r
    UID:1\r
    DTSTART;TZID=Own:20260101T100000\r
    DURATION:PT1H\r
    RRULE:FREQ=MONTHLY;BYDAY=2TU;COUNT=5\r
    EXDATE;TZID=Own:20260210T100000\r
    SUMMARY:a\\, b\r
     c\r
    ATTENDEE;CN="A B":mailto:a@example.com\r
    END:VEVENT\r
    END:VCALENDAR\r

    """

private let saml = """
    <samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" \
    ID="_1" Version="2.0" InResponseTo="_r" IssueInstant="2026-01-01T00:00:00Z" Destination="https://auth.example.com/acs">\
    <saml:Issuer>https://idp.example.com</saml:Issuer><samlp:Status><samlp:StatusCode \
    Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></samlp:Status><saml:Assertion ID="_2" Version="2.0"/>\
    </samlp:Response>
    """

private let provider = SAMLServiceProvider(
    SAMLSettings(
        providerID: "https://idp.example.com", signOn: "https://idp.example.com/sso", certificates: [],
        entityID: "https://auth.example.com", consumer: "https://auth.example.com/acs",
        logoutConsumer: "https://auth.example.com/slo"))

let documentTargets: [FuzzTarget] = [
    FuzzTarget("icalendar", texts: [event]) { octets in
        var document = try CalendarDocument(parsing: octets)
        demand(document.octets == octets, "a document that nobody changed is written as it was read")
        for component in document.components where component.name == "VEVENT" {
            _ = try document.putValue("changed", ofFirst: "SUMMARY", in: component)
        }
        _ = try CalendarDocument(parsing: document.octets)
    },
    FuzzTarget("calendar-times", texts: [event]) { octets in
        let document = try CalendarDocument(parsing: octets)
        for component in document.components where component.name == "VEVENT" {
            let schedule = try EventSchedule(
                document.properties(of: component), in: document, zones: .system, userZone: .utc)
            _ = try schedule.occurrences(
                in: Instant(seconds: 1_767_225_600)..<Instant(seconds: 1_798_761_600), limit: 400)
        }
    },
    FuzzTarget("calendar-series", texts: [event]) { octets in _ = try EventSeries(parsing: octets) },
    FuzzTarget("calendar-pages", texts: [#"{"value":[{"id":"1","start":{"dateTime":"2026"}}],"@odata.nextLink":"x"}"#])
    {
        _ = try JSONValue(parsing: $0)
    },
    FuzzTarget(
        "calendar-xml",
        texts: [
            #"<?xml version="1.0"?><D:multistatus xmlns:D="DAV:"><D:response><D:href>/a</D:href><D:status>HTTP/1.1 200 OK</D:status></D:response></D:multistatus>"#,
            #"<!DOCTYPE a [<!ENTITY b "c">]><a>&b;&#65;<![CDATA[d]]></a>"#,
        ]
    ) { _ = try XMLParser.parse($0) },
    FuzzTarget("saml", texts: [saml]) { octets in
        _ = try? provider.read(Base64.encode(octets))
        _ = try provider.logout(query: octets)
    },
    FuzzTarget("office-documents", seeds: [[0x50, 0x4B, 0x03, 0x04] + [UInt8](repeating: 0, count: 26)]) { octets in
        _ = DocumentKind(octets)
        var buffer = TextBuffer(limit: 1 << 20)
        _ = OfficeText.read(octets, into: &buffer)
    },
    FuzzTarget("html", texts: ["<html><body><p>a &amp; b</p><script>c</script><br></body></html>"]) { octets in
        var buffer = TextBuffer(limit: 1 << 20)
        _ = DocumentText.HTMLText.read(octets, into: &buffer)
        PlainText.read(octets, into: &buffer)
    },
]
