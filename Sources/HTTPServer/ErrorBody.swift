import WireText

/// The body of an error that no route has made, in the form of docs/core-api.md.
enum ErrorBody {
    static func json(message: String) -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("message", message)
        json.name("errors")
        json.beginArray()
        json.beginObject()
        json.member("description", message)
        json.endObject()
        json.endArray()
        json.member("trackingId", UUIDText.random())
        json.endObject()
        return json.bytes()
    }
}
