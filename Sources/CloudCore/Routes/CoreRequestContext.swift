import Hummingbird
import WireText

/// What goes along with one request: the caller, once the token was checked, and the id that follows it in all logs.
struct CoreRequestContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    var trackingID: String
    /// Set by `Authentication`; routes behind it have one.
    var principal: Principal?

    init(source: Source) {
        coreContext = CoreRequestContextStorage(source: source)
        trackingID = "core_\(UUIDText.random())"
    }

    func user() throws(Refusal) -> UserKey {
        guard let principal else { throw Refusal(.unauthorized, "this needs a token") }
        return try principal.user()
    }

    /// The UUID in the path; anything else is an object that does not exist.
    func id(_ name: String = "id") throws(Refusal) -> String {
        guard let text = parameters.get(name), UUIDText.isValid(text) else {
            throw Refusal(.notFound, "there is nothing of that name")
        }
        return text.lowercased()
    }
}
