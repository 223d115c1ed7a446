import Hummingbird
import WireText

/// Users of the caller's own organisation and of those that it deals with, by address or id.
struct DirectoryRoutes {
    let services: CoreServices

    func add(to router: some RouterMethods<CoreRequestContext>) {
        router.get("directory/users") { request, context -> Response in
            let organisation = try context.user().organisation
            let query = request.uri.queryParameters
            let organisations = [organisation] + services.configuration.partners(of: organisation).map(\.id)
            var user: UserRecord?
            if let email = query["email"].map(String.init), email.utf8.count <= 320 {
                // A partner's users go by the addresses of its own domains only.
                let home = services.configuration.organisation(ofAddress: email)?.id ?? organisation
                user = try await services.store.user(
                    organisation: organisations.contains(home) ? home : organisation, email: email)
            } else if let id = query["id"], UUIDText.isValid(id) {
                user = try await services.store.user(id.lowercased(), of: organisations)
            } else {
                throw Refusal(.badRequest, "email or id is missing: expected ?email=NAME@DOMAIN or ?id=UUID")
            }
            guard let user else {
                throw Refusal(.notFound, "nobody of that name is known here: users become known when they first log in")
            }
            return .json { json in
                json.member("id", user.id)
                json.member("email", user.email)
                json.member("name", user.name)
            }
        }
    }
}
