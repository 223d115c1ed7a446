import EDiscoveryExport
import KMSProtocol
import LinkProtocol
import SearchProtocol
import WireText

private let request = """
    {"client":{"clientId":"c","credential":{"bearer":"b","userId":"u-1"}},"method":"create","requestId":"r-1",\
    "uri":"/keys","count":2,"keyUris":["kms://kms.example.com/keys/1"],"resourceUri":"/resources/1",\
    "userIds":["u-1"],"time":"2026-01-01T00:00:00.000Z"}
    """

private func tagged(_ type: UInt8, _ rest: [UInt8]) -> [UInt8] { [type] + rest }

let protocolTargets: [FuzzTarget] = [
    FuzzTarget("json", texts: [#"{"a":[1,-2.5e3,"\ud83d\ude00",true,null],"b":{"c":""}}"#, request]) { octets in
        let root = try JSONDocument(octets).root
        // What is canonical stays what it is.
        let canonical = try CanonicalJSON.bytes(root)
        let again = try JSONDocument(canonical).root
        demand(try CanonicalJSON.bytes(again) == canonical, "canonical JSON is canonical")
    },
    FuzzTarget(
        "kms-envelopes",
        texts: [
            request, #"{"status":200,"requestId":"r-1","keys":[{"uri":"/keys/1","jwk":{"kty":"oct","k":"AA"}}]}"#,
            #"{"reset":true,"reason":"x","requestId":"r"}"#,
            "kms://kms.example.com/authorizations?authId=a&resourceUri=b",
        ]
    ) { octets in
        if let uri = KMSURI(text(octets)) { _ = uri.object }
        let root = try JSONDocument(octets, limits: KMSRequest.jsonLimits).root
        _ = KMSRequest.requestID(of: root)
        if let answer = KMSAnswer(root) { _ = answer.json().count }
        if let reset = KMSReset(root) { _ = reset.json().count }
        let request = try KMSRequest(root, needsBearer: false)
        _ = request.isMutating
        _ = try? request.keyCount()
        _ = try? request.keyLimit()
        _ = try? request.ids()
        _ = try? request.keyURIs()
        _ = try? request.resourceURI()
        _ = try? request.timeToLive()
        _ = try? request.roleURI()
        _ = try? request.anonymousCount()
        for name in ["time", "since", "until"] { _ = try? request.date(name) }
    },
    FuzzTarget(
        "link-frames",
        seeds: (UInt8(0)...24).map { tagged($0, [0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 97, 123, 125]) }
            + [tagged(1, Array(#"{"version":1,"service":"kms","node":"n","epoch":1}"#.utf8))]
    ) { octets in
        let frame = try LinkFrame(decoding: octets)
        let again = frame.encode()
        demand(try LinkFrame(decoding: again).encode() == again, "a frame is written as it is read")
    },
    FuzzTarget("search-entries", seeds: (UInt8(0)...4).map { tagged($0, [UInt8](repeating: 1, count: 64)) }) { octets in
        guard let kind = octets.first else { return }
        let rest = Array(octets.dropFirst())
        switch kind % 5 {
        case 0:
            let entry = try SearchEntry(decoding: rest)
            demand(entry.encode() == rest, "an entry is written as it is read")
        case 1:
            let upload = try SearchUpload(decoding: rest)
            demand(upload.encode() == rest, "an upload is written as it is read")
        case 2: _ = try SearchLookup(decoding: rest)
        case 3:
            _ = try? SearchQuestion(decoding: rest)
            _ = try SearchCall(decoding: rest)
        default: _ = try SearchCall(decoding: rest)
        }
    },
    FuzzTarget(
        "export-readers",
        texts: [
            #"{"format":"hds-ediscovery-export-1","report":"r","matter":"m","created":"2026-01-01T00:00:00.000Z","root":"00","size":1}"#,
            #"{"kind":"message","number":"DOC0001","id":"1","room":"r","time":"2026-01-01T00:00:00.000Z"}"#,
        ]
    ) { octets in
        _ = try? ExportStatement(octets: octets)
        _ = try? ItemProof(json: octets)
        _ = try ItemLine.decode(octets)
    },
]
