//! What the ordinary client needs: `clouds.yaml` and `openrc`.

use super::settings::REGION;
use crate::{Cloud, StateDir, UpError};

/// Name of the cloud in `clouds.yaml`.
const CLOUD_NAME: &str = "kagemusha";

/// Writes both files, readable by their owner only.
pub(crate) fn write(state: &StateDir, cloud: &Cloud) -> Result<(), UpError> {
    let (admin, url) = (&cloud.admin, &cloud.identity_url);
    let password = admin.password.reveal();
    let yaml = format!(
        "clouds:\n  {CLOUD_NAME}:\n    region_name: {REGION}\n    identity_api_version: 3\n    auth:\n      auth_url: {url}\n      \
         username: {user}\n      password: {password}\n      project_name: {project}\n      user_domain_name: Default\n      \
         project_domain_name: Default\n",
        user = admin.user,
        project = admin.project,
    );
    state.write_private("clouds.yaml", yaml.as_bytes())?;
    // The client leaves a cache of its plugins in the home directory. It is the one that the services have, whose home is `run`.
    let openrc = format!(
        "export OS_AUTH_URL={url}\nexport OS_USERNAME={user}\nexport OS_PASSWORD={password}\n\
         export OS_PROJECT_NAME={project}\nexport OS_USER_DOMAIN_NAME=Default\nexport OS_PROJECT_DOMAIN_NAME=Default\n\
         export OS_REGION_NAME={REGION}\nexport OS_IDENTITY_API_VERSION=3\nexport PATH=\"{bin}:$PATH\"\n\
         openstack() {{ XDG_CACHE_HOME=\"{cache}\" command openstack \"$@\"; }}\n",
        user = admin.user,
        project = admin.project,
        bin = cloud.venv.join("bin").display(),
        cache = state.join("run/.cache").display(),
    );
    state.write_private("openrc", openrc.as_bytes())
}
